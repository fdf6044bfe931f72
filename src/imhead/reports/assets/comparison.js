const slider=document.getElementById('turn'),views=[...document.querySelectorAll('.turn div')];
const show=()=>views.forEach(v=>v.style.backgroundPositionX=100*slider.value/slider.max+'%');
slider.oninput=show;show();
views.forEach(v=>{let from=null;
v.onpointerdown=e=>{from=[e.clientX,+slider.value];v.setPointerCapture(e.pointerId)};
v.onpointerup=v.onpointercancel=()=>from=null;
v.onpointermove=e=>{if(from){slider.value=from[1]-(e.clientX-from[0])/v.clientWidth*slider.max*.7;show()}}});
